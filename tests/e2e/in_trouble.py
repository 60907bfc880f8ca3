"""A proxy with `flowtap_required` over a store that is in trouble when the test says so."""

from pathlib import Path

from tests.e2e.harness import Proxy, Upstream

SCRIPT = Path(__file__).with_name("troubled.py")


class Troubled(Proxy):
    """In trouble while the sign is there; with `strange` mitmproxy's insides are not as we know them."""

    def __init__(
        self,
        store: Path,
        folder: Path,
        upstream: Upstream,
        sign: Path,
        strange: str = "",
        args: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            store, folder, upstream, ("--set", "flowtap_required=true", *args), script=SCRIPT
        )
        self._environment |= {"FLOWTAP_TEST_TROUBLE": str(sign), "FLOWTAP_TEST_STRANGE": strange}
