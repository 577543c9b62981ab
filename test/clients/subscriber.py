"""Subscribes as the Python services of ConnectBot do and writes what it makes of each event as one line of JSON.

Usage: python subscriber.py REDIS_URL CHANNEL_OR_PATTERN…
"""

import json
import sys
from datetime import datetime

import redis


def main(url, channels):
    pubsub = redis.Redis.from_url(url, decode_responses=True).pubsub()
    for channel in channels:
        if "*" in channel:
            pubsub.psubscribe(channel)
        else:
            pubsub.subscribe(channel)
    for message in pubsub.listen():
        if message["type"] not in ("message", "pmessage"):
            print(json.dumps({"subscribed": message["data"]}), flush=True)
            continue
        event = json.loads(message["data"])
        datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
        print(
            json.dumps(
                {
                    "channel": message["channel"],
                    "event": event,
                    "types": {name: type(value).__name__ for name, value in event.items()},
                }
            ),
            flush=True,
        )


main(sys.argv[1], sys.argv[2:])
