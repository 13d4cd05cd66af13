import sys

from eval.study.run import main

sys.exit(main())
