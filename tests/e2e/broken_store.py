"""A mitmproxy script: our addon on a store of which every call raises."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from addon.recorder import Recorder
from tests.addon.fakes import KEYS, FakeWriter, Opener
from tests.e2e.harness import KEY

addons = [
    Recorder(Opener(FakeWriter({KEY.encode(): key for key in KEYS.values() if key.retention_s},
                               broken=os.environ["FLOWTAP_TEST_BROKEN"])))
]  # fmt: skip
