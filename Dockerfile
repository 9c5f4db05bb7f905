# darknet-py on CPUs, as a user without rights. Not built where it was written: tests/test_distribution.py runs its
# RUN lines in an empty environment instead.
#
#   docker build -t darknet-py .
#   docker run --rm -p 127.0.0.1:8000:8000 darknet-py                      # serves yolov4-tiny, see docs/serving.md
#   docker run --rm -v "$PWD:/data" darknet-py detect yolov4-tiny photo.jpg --save
FROM python:3.12-slim

# torch without CUDA: 0.2 GB instead of 3 GB.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
WORKDIR /src
COPY . .
RUN python -m pip install -c constraints.txt '.[serve,video]'

# Weights are downloaded to the cache by the first run; a volume at /cache keeps them.
ENV XDG_CACHE_HOME=/cache HOME=/data
RUN install -d -o 1000 /cache /data
USER 1000
WORKDIR /data
VOLUME ["/cache"]
EXPOSE 8000

# In a container 127.0.0.1 is the container itself. Who may reach the port is what `docker run -p` says.
ENTRYPOINT ["darknet-py"]
CMD ["serve", "yolov4-tiny", "--host", "0.0.0.0"]
