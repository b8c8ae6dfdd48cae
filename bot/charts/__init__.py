"""The parts of the picture of /stats."""

import atexit
import os
import shutil
import tempfile

# Matplotlib keeps its list of fonts in the home directory unless told otherwise. In a container that may be read-only,
# and matplotlib would warn; so it gets a folder that goes with the process. This must happen before it is imported.
if "MPLCONFIGDIR" not in os.environ:
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="quiz-matplotlib-")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
