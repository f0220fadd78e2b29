"""
Train
=====

x
"""

# %%
# Text
print(1)
