"""`python -m intravisto_core …`"""

import sys

from intravisto_core.cli import main

sys.exit(main())
