FROM python:3.11-slim

# Which build of PyTorch: "cpu", or "cuda" for a machine with an NVIDIA GPU (docker build --build-arg TORCH=cuda .)
ARG TORCH=cpu

# Chromium draws the PNG, SVG and PDF exports; everything else works without it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium fonts-noto-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user \
    && mkdir /models && chown user /models

WORKDIR /home/user/app
COPY requirements.txt .
RUN if [ "$TORCH" = cpu ]; then \
        pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)"; \
    fi
RUN pip install --no-cache-dir -r requirements.txt

COPY --chown=user . .
USER user
ENV HF_HOME=/models \
    PORT=8501
VOLUME /models
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD python -c "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/_stcore/health', timeout=5)"
# A Space is shown in a frame of huggingface.co, where browsers keep back the cookie that uploads are checked by. Such
# requests of other sites are refused without it, too, and the name of a session cannot be guessed.
CMD ["sh", "-c", "[ -z \"$SPACE_ID\" ] || export STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION=false; exec streamlit run app.py --server.address=0.0.0.0 --server.port=${PORT}"]
