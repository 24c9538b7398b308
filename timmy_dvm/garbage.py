"""Keeps the garbage collector's pauses short in a process that lives for months."""

import gc


def keep_what_is_loaded() -> None:
    """Have later collections pass over all that is there now: modules, models, the configuration.

    None of it is ever garbage, and looking through it takes some 100 ms each time, in which a customer waits. For
    the process of a bot alone, once it serves: what is garbage by then is collected first.
    """
    gc.collect()
    gc.freeze()
