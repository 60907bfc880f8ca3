"""The recording side of flowtap: a mitmproxy addon. Holds no state: it may be imported twice."""
