"""The service's entry point, which says at its end what its process has imported."""

from __future__ import annotations

import signal
import sys

import main

signal.signal(signal.SIGTERM, lambda *_: None)  # the server raises it once more when it has ended
status = main.main(sys.argv[1:])
sys.stdout.write(f"imported {' '.join(sys.modules)}\n")
sys.exit(status)
