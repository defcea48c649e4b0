# The page, the API and every command, without torch: docker build -t sizer . && docker run -p 127.0.0.1:8471:8471 sizer
FROM python:3.13-slim
COPY . /source
RUN pip install --no-cache-dir '/source[web,mcp]' && rm -rf /source
RUN useradd --create-home sizer
USER sizer
EXPOSE 8471
ENTRYPOINT ["sizer"]
# Inside the container every address is its own; what can reach it is decided by -p.
CMD ["web", "--host", "0.0.0.0", "--no-browser"]
