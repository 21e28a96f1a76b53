"""Runs the checks whose numbers are given, or all. The last line says how many passed and failed."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Result(unittest.TextTestResult):
    """Counts what passed: the standard result leaves an error in setUpClass out of the tests that ran."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main(numbers):
    loader = unittest.TestLoader()
    suite = unittest.TestSuite()
    for number in numbers or "123456789":
        names = [path.stem for path in HERE.glob(f"check_{number}_*.py")]
        if not names:
            sys.exit(f"there is no check {number}")
        suite.addTests(loader.loadTestsFromNames(names))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed")
    sys.exit(1 if failed or not result.passed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
