#!/bin/sh
# The JavaScript's types and lint. Errors in types that are listed in known.txt (without their lines) pass.
cd "$(dirname "$0")/.." || exit 1
npx --no-install tsc --project tsconfig.json --pretty false >node_modules/.types.txt
sed -n 's/([0-9,]*): error / /p; /^error/p' node_modules/.types.txt | sort -u >node_modules/.found.txt
new=$(grep -vxF -f types/known.txt node_modules/.found.txt)
if [ -n "$new" ]; then
  cat node_modules/.types.txt
  echo "JavaScript types: not in types/known.txt:"
  echo "$new"
  exit 1
fi
npx --no-install eslint --max-warnings=0 web copyscope_core || exit 1
echo "JavaScript: types as listed in types/known.txt ($(wc -l <types/known.txt) left), lint clean"
