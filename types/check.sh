#!/bin/sh
# The JavaScript's types and lint.
cd "$(dirname "$0")/.." || exit 1
npx --no-install tsc --project tsconfig.json --pretty false || exit 1
npx --no-install eslint --max-warnings=0 web copyscope_core || exit 1
echo "JavaScript: types and lint clean"
