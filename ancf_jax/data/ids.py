"""Ids as people pass them: the text that stands in the data."""

from collections.abc import Sequence

import numpy as np

from ancf_jax.errors import UserError


def user_ids(users: Sequence[str | int]) -> list[str]:
    """Ids as the text that they are in the data: 17850, as pandas reads it, is "17850".

    Raises:
        UserError: users are one text, or one of them is neither text nor a whole number.
    """
    if isinstance(users, str):
        raise UserError(
            f'users are the text "{users}", expected a list such as ["{users}"]'
        )
    return [_user_id(user) for user in users]


def _user_id(user: object) -> str:
    if isinstance(user, str):
        return str(user)
    if isinstance(user, (int, np.integer)) and not isinstance(user, bool):
        return str(int(user))
    raise UserError(
        f"a user is {user!r} of type {type(user).__name__}, expected an id as text; read ids "
        'as text, for example by pd.read_csv(..., dtype={"user_id": str})'
    )
