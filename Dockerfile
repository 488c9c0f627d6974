# tlcli with all extras but Ray, for any machine with Docker; it runs as a user without rights of its own.
#
#   docker build -t tlcli .
#   docker run --rm -v "$PWD:/work" -v tlcli-cache:/cache --user "$(id -u):$(id -g)" tlcli init photos
#
# For a server of one run, see examples/serve/Dockerfile.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY tlcli tlcli
RUN pip install --no-cache-dir ".[export,heif,search,serve,tensorboard]" \
    && mkdir --mode 1777 /cache /work

# Every user may write here: a container takes the user who starts it, so that runs belong to them.
ENV TLCLI_CACHE=/cache HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib KERAS_HOME=/cache/keras
VOLUME /cache
WORKDIR /work
USER 1000
ENTRYPOINT ["tlcli"]
