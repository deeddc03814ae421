"""python -m minivae"""

from minivae.cli import main

raise SystemExit(main())
