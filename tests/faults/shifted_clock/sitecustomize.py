"""A clock that is wrong by the seconds in a file, in every Python process that finds this folder on its path."""

import datetime
import os
import time

_file, _time, _time_ns, _real = os.environ["SHIFTED_CLOCK"], time.time, time.time_ns, datetime.datetime


def _shift():
    try:
        with open(_file, encoding="ascii") as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


class _IsReal(type):
    """What C code makes is an instance too."""

    def __instancecheck__(cls, one):
        return isinstance(one, _real)


class Shifted(_real, metaclass=_IsReal):
    """The class that replaces `datetime.datetime`."""

    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + datetime.timedelta(seconds=_shift())

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls):
        return cls.now()


datetime.datetime = Shifted
time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + _shift() * 10**9
