"""Runs tests. The last line says how many passed and failed."""

import sys
import unittest


class Result(unittest.TextTestResult):
    """Counts what passed: the standard result leaves an error in setUpClass out of the tests that ran."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main(module):
    run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules[module]))


def run(suite):
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed")
    sys.exit(1 if failed or not result.passed else 0)
