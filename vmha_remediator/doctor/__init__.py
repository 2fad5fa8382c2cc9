# SPDX-License-Identifier: Apache-2.0
"""`vmha-manage doctor`: what would go wrong at the first failure, said before it happens."""
