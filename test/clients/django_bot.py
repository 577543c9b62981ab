"""Does with Django's cache what the bot does, with the bot's settings, and writes what comes of it.

Usage: python django_bot.py REDIS_URL COMMANDS

COMMANDS is a file with a JSON list of commands, each a list: what to do and its arguments. Values are Python literals in
texts. For each command one line of JSON is written: what it returned, values by their repr().
"""

import ast
import json
import os
import pickle
import sys
from datetime import datetime

import django
from django.conf import settings

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": sys.argv[1],
            "KEY_PREFIX": "connectbot",
            "TIMEOUT": 300,
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.DefaultClient",
                "CONNECTION_POOL_KWARGS": {"max_connections": 20},
                "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                "IGNORE_EXCEPTIONS": True,
            },
        }
    },
)
django.setup()

from django.core.cache import cache  # noqa: E402 (it needs the settings)


class Employee:
    """An object as none may be built from what is in the cache."""

    def __init__(self):
        self.name = "Анна"


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def value(literal):
    return ast.literal_eval(literal)


def store_temp(namespace, key, data, ttl=1800):
    """Keeps temporary data as the bot's TempDataManager does."""
    serialized = isinstance(data, (dict, list, tuple))
    entry = {
        "data": data if serialized else pickle.dumps(data).hex(),
        "type": type(data).__name__,
        "created_at": datetime.now().isoformat(),
        "namespace": namespace,
        "serialized": serialized,
    }
    return cache.set(f"temp:{namespace}:{key}", json.dumps(entry), ttl)


def load_temp(namespace, key):
    """Reads temporary data as the bot's TempDataManager does."""
    text = cache.get(f"temp:{namespace}:{key}")
    if text is None:
        raise KeyError(key)
    entry = json.loads(text)
    datetime.fromisoformat(entry["created_at"])
    assert entry["namespace"] == namespace, entry
    if entry["serialized"]:
        data = entry["data"]
        assert isinstance(data, (dict, list)), entry
    else:
        data = pickle.loads(bytes.fromhex(entry["data"]))
    assert entry["type"] in (type(data).__name__, "tuple"), entry
    return data


def store_menu(user_id, menu_type, menu, ttl=1800):
    entry = {"data": menu, "user_id": user_id, "menu_type": menu_type, "cached_at": 0}
    return cache.set(f"menu:user:{user_id}:{menu_type}", json.dumps(entry), ttl)


def load_menu(user_id, menu_type):
    entry = json.loads(cache.get(f"menu:user:{user_id}:{menu_type}"))
    assert (entry["user_id"], entry["menu_type"]) == (user_id, menu_type), entry
    return entry["data"]


def keys(pattern):
    return sorted(cache.keys(pattern))


commands = {
    "set": lambda key, literal, *ttl: cache.set(key, value(literal), *ttl),
    "get": lambda key: cache.get(key, "missing"),
    "is": lambda key, decoded: cache.get(key) == decoded,
    "delete": cache.delete,
    "clear": cache.clear,
    "ttl": cache.ttl,
    "keys": keys,
    "set temp": lambda namespace, key, literal, *ttl: store_temp(namespace, key, value(literal), *ttl),
    "get temp": load_temp,
    "set menu": lambda user_id, menu_type, literal, *ttl: store_menu(user_id, menu_type, value(literal), *ttl),
    "get menu": load_menu,
    "set an object": lambda key: cache.set(key, Employee()),
    "set a command": lambda key, command: cache.set(key, Command(command)),
    "set an object temp": lambda namespace, key: store_temp(namespace, key, Employee()),
    "set a command temp": lambda namespace, key, command: store_temp(namespace, key, Command(command)),
    "increment": cache.incr,
    "touch": cache.touch,
}

with open(sys.argv[2], encoding="utf-8") as file:
    for what, *args in json.load(file):
        print(json.dumps(repr(commands[what](*args))))
