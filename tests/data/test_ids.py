"""Ids as people pass them: text, or whole numbers that pandas made of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.ids import user_ids
from ancf_jax.errors import UserError


@pytest.mark.parametrize(
    "users",
    [
        ["17850", "13047"],
        [17850, 13047],
        np.array([17850, 13047]),
        np.array(["17850", "13047"]),
        pd.Series([17850, 13047]),
        pd.Index(["17850", "13047"]),
    ],
)
def test_ids_become_the_text_of_the_data(users):
    found = user_ids(users)
    assert found == ["17850", "13047"]
    assert {type(user) for user in found} == {str}


def test_leading_zeros_stay():
    assert user_ids(["007"]) == ["007"]


@pytest.mark.parametrize("user", [17850.0, True, None, b"17850", ("17850",)])
def test_what_is_no_id_is_named_with_its_type(user):
    with pytest.raises(
        UserError, match=f"of type {type(user).__name__}, expected an id"
    ):
        user_ids(["a", user])


def test_one_text_is_no_list():
    with pytest.raises(UserError, match='users are the text "17850", expected a list'):
        user_ids("17850")
