"""What people look at: plots, ECG sheets, the report and the explanation."""
