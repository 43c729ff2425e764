"""The floor that `ask` is measured against: httpx2, its line iteration, json and print.

python bench/loop_httpx2.py PORT
"""

import json
import sys

import httpx2


def main() -> None:
    """Stream one answer to stdout."""
    body = {
        "model": "gpt-5.2",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = f"http://127.0.0.1:{sys.argv[1]}/v1/chat/completions"
    with httpx2.Client() as client, client.stream("POST", url, json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                for choice in json.loads(line[6:])["choices"]:
                    text = choice["delta"].get("content")
                    if text:
                        sys.stdout.write(text)
                        sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
