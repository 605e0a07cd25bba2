#!/usr/bin/env bash
# One ticket by curl, step by step. Needs curl and python3 (to read JSON), and a TOMAAT server:
#   TOMAAT_URL=http://127.0.0.1:5000 examples/curl-walkthrough.sh
set -euo pipefail
url=${TOMAAT_URL:-http://127.0.0.1:5000}
field() { python3 -c 'import json, sys; value = json.load(sys.stdin)
for key in sys.argv[1].split("."): value = value[key]
print(value)' "$1"; }

echo "1. What can be asked?"
curl --fail --silent --show-error "$url/supportedservices" |
  python3 -c 'import json, sys
for service in json.load(sys.stdin):
    inputs = ", ".join(service["interface"])
    print("   {}({}): {}".format(service["name"], inputs, service["description"]))'

echo "2. Ask for FloatComputation. A volume would be a file: -F scan=@scan.nii.gz. The label is your own name for it."
ticket=$(curl --fail --silent --show-error \
  -F service=FloatComputation -F label="A first sum" -F f1=2.5 -F f2=4 -F op=add "$url/request")
echo "   $ticket"

# The address of a ticket holds '&': quote it, or the shell takes it for its own.
echo "3. Wait until it has ended, for at most 25 seconds."
status=$(curl --fail --silent --show-error "$url$(field links.status <<<"$ticket")?wait=25")
echo "   label: $(field label <<<"$status"), state: $(field state <<<"$status")"

echo "4. Fetch the result. --fail: an error never becomes the file."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
curl --fail --silent --show-error -o "$folder/result.tar.gz" "$url$(field links.result <<<"$ticket")"
tar -tzf "$folder/result.tar.gz" | sed 's/^/   /'
tar -xzf "$folder/result.tar.gz" -C "$folder"
echo "   result: $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["outputs"][0]["value"])' "$folder/result.json")"

echo "5. Or one file of it. A volume that was sent comes from /input/<id>&<token>/<input>.nii.gz."
curl --fail --silent --show-error -o "$folder/alone.json" "$url$(field links.result <<<"$ticket")/result.json"
cmp "$folder/result.json" "$folder/alone.json"

echo "6. Delete it. The token may also go into a header."
curl --fail --silent --show-error -o /dev/null -X DELETE \
  -H "Authorization: Bearer $(field token <<<"$ticket")" "$url/request/$(field id <<<"$ticket")"
echo "   done"
