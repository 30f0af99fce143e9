# palitune with JAX for NVIDIA cards. Weights never enter the image: mount checkpoints/, cache/ and playground/.
#   docker build -t palitune .
#   docker run --rm -it --gpus all -v "$PWD:/palitune" palitune ./03-do_learn.py -d set1
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

# "cuda12" needs nothing but the host's driver; "" gives the CPU build.
ARG EXTRA=cuda12

WORKDIR /opt/palitune
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m pip install --no-cache-dir ".${EXTRA:+[${EXTRA}]}"

ENV PYTHONUNBUFFERED=1
WORKDIR /palitune/playground
CMD ["bash"]
