"""Makes ``tests/`` importable (``hostutil``) from every test folder."""
