FROM python:3.12.11-slim-bookworm

# Nothing is written outside the mounted folders at run time: byte code and the settings folders of
# Keras and Matplotlib are made below.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KERAS_HOME=/opt/keras \
    MPLCONFIGDIR=/opt/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /physionet

COPY requirements.txt requirements-formats.txt constraints.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt \
    --requirement requirements-formats.txt --constraint constraints.txt

# TensorFlow 2.21 finds most of its CUDA wheels by itself, but not cuSOLVER's, and then silently
# trains on the CPU. Register all of them with the loader.
RUN python -c "import pathlib, sysconfig; \
        print(*pathlib.Path(sysconfig.get_path('purelib')).glob('nvidia/*/lib'), sep='\n')" \
        > /etc/ld.so.conf.d/nvidia-wheels.conf \
    && ldconfig \
    && python -c "import keras, wfdb"

COPY . .
# Matplotlib uses its font cache only if it can write to it.
RUN python -m compileall -q . && chmod -R a+rX . /opt/keras && chmod -R a+rwX /opt/matplotlib
