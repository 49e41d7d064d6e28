"""scikit-activeml's own template test for pool strategies, run on ours where an unpacked copy of it is given.

Their releases stopped carrying their tests; the wheel of 0.6.0 has them, and they fit 1.0.1:

    pip download --no-deps scikit-activeml==0.6.0 && unzip scikit_activeml-0.6.0-*.whl -d FOLDER
    SKACTIVEML_TESTS=FOLDER/skactiveml pytest tests/test_skactiveml_template.py
"""

import os
import unittest
from importlib import import_module

import numpy as np
import pytest

from jaxal.errors import ConfigError
from jaxal.strategies import STRATEGIES

if "SKACTIVEML_TESTS" not in os.environ:
    pytest.skip("SKACTIVEML_TESTS names no folder with scikit-activeml's tests", allow_module_level=True)
pytest.importorskip("skactiveml", reason="scikit-activeml is in the extra `skactiveml`")
import skactiveml
from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier
from sklearn.linear_model import LogisticRegression

from jaxal.skactiveml import Strategy

skactiveml.__path__.append(os.environ["SKACTIVEML_TESTS"])  # after the installed package's own folder
Template = import_module("skactiveml.tests.template_query_strategy").TemplateSingleAnnotatorPoolQueryStrategy

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("ignore:probcover")]


def template(name, variant, clf):
    """Their test case for one strategy; `clf` is what `query` gets."""

    class Case(Template, unittest.TestCase):
        def setUp(self):
            X, y = np.random.RandomState(0).randn(20, 3), np.array([0, 1, 0] + 17 * [np.nan])
            query = {"X": X, "y": y} | ({} if clf is None else {"clf": clf})
            super().setUp(Strategy, {"strategy": name, "variant": variant}, query_default_params_clf=query)

        def test_init_param_strategy(self):
            self._test_param("init", "strategy", [("nonesuch", ConfigError), (name, None)])

        def test_init_param_variant(self):
            self._test_param("init", "variant", [("nonesuch", ConfigError), ("official", None), ("skactiveml", None)])

        def test_init_param_settings(self):
            self._test_param("init", "settings", [({"nonesuch": 1}, ConfigError), (None, None), ({}, None)])

        def test_init_param_C(self):
            self._test_param("init", "C", [(0, ConfigError), (0.5, None)])

        def test_query_param_clf(self):
            if clf is None:
                self._test_param("query", "clf", [(None, None), (np.nan, TypeError), ("state", TypeError)])
            else:
                other = SklearnClassifier(LogisticRegression(), classes=[0, 1])
                super().test_query_param_clf(test_cases=[(clf, None), (other, None)])

        def test_query_param_fit_clf(self):
            if clf is not None:
                super().test_query_param_fit_clf()

        def test_query(self):
            rows = Strategy(name, variant, random_state=1).query(**self.query_default_params_clf, batch_size=4)
            assert len(set(rows) - {0, 1, 2}) == 4

    return Case


for _name in STRATEGIES:
    for _variant in ("official", "skactiveml"):
        for _given, _clf in (("own", None), ("given", ParzenWindowClassifier(classes=[0, 1], random_state=0))):
            globals()[f"Test_{_name}_{_variant}_{_given}"] = template(_name, _variant, _clf)
