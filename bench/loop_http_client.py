"""The physical floor: the same as `loop_httpx2.py` with the standard library's `http.client`."""

import http.client
import json
import sys


def main() -> None:
    """Stream one answer to stdout."""
    body = {
        "model": "gpt-5.2",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    while line := response.readline():
        if line.startswith(b"data: ") and line != b"data: [DONE]\n":
            for choice in json.loads(line[6:])["choices"]:
                text = choice["delta"].get("content")
                if text:
                    sys.stdout.write(text)
                    sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
