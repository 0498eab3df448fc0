"""What the kernel of an executed page runs first: it goes to the folder with the run of ``scrae demo``."""

import os

os.chdir(os.environ["SCRAE_SITE_FOLDER"])
