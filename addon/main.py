"""What `mitmdump -s addon/main.py` runs: finds the rest of flowtap, and offers the recorder.

mitmproxy executes this file under a name of its own, with this folder first on sys.path and
nothing else of a checkout importable; a reload executes it again. So: no relative import, no
state, and sys.path put right before anything of ours is imported.
"""

import logging
import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


def _mend_sys_path() -> None:
    """Have `addon`, `store` and `collectors` found next to this file, and no file here as a module.

    mitmproxy means to take this folder off sys.path again but does not (script.py keeps an
    alias of the list, no copy): it would hide, for all of the process, any module whose name
    a file in here has.
    """
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    loaded = sys.modules.get("addon")
    if loaded is not None and HERE not in map(os.path.abspath, loaded.__path__):
        # Our start-up line imported an installed flowtap, and this is another one's file.
        for name in [name for name in sys.modules if name.partition(".")[0] == "addon"]:
            del sys.modules[name]


def _addons() -> list[Any]:
    """The recorder; or none and an error, which stops mitmproxy's start."""
    try:
        from addon.recorder import Recorder
        from store.location import open_store
    except ModuleNotFoundError as error:
        logging.getLogger(__name__).error(
            "flowtap: the Python that runs mitmproxy (%s) has no %s. Install flowtap there: "
            "%s -m pip install -e %s (mitmproxy's standalone binaries cannot load it: install "
            "mitmproxy with pip)",
            sys.executable,
            error.name,
            sys.executable,
            ROOT,
        )
        return []
    return [Recorder(open_store)]


_mend_sys_path()
addons = _addons()
