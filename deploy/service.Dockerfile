# The service, without the app: docker build -f deploy/service.Dockerfile -t intravisto-service .
FROM python:3.11-slim

# Which build of PyTorch: "cpu", or "cuda" for a machine with an NVIDIA GPU (docker build --build-arg TORCH=cuda)
ARG TORCH=cpu

# KubeRay's probes use wget
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
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
RUN pip install --no-cache-dir ".[serve]"
USER user
ENV HF_HOME=/models
VOLUME /models
EXPOSE 8400
ENTRYPOINT ["intravisto"]
CMD ["serve", "--model", "demo"]
