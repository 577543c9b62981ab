"""Publishes recorded payloads as the bot does: standard input is a JSON list of {"channel", "payload"}.

Usage: python publisher.py REDIS_URL
"""

import json
import sys

import redis

client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
for record in json.load(sys.stdin):
    client.publish(record["channel"], record["payload"])
