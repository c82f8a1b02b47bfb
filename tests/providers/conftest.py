import pytest

pytest.register_assert_rewrite("batch_assets.provider_contract")
