#!/bin/sh
# Brings one image to a cluster and waits until the service is ready; needs kubectl and its access to the cluster.
#
#     release.sh small ghcr.io/you/bot:0.1.0
#     release.sh production ghcr.io/you/bot@sha256:... quiz.example.org
#     RENDER_ONLY=1 release.sh ...        # prints the manifests and changes nothing
set -eu

overlay=$1 image=$2 host=${3:-}
cd "$(dirname "$0")"
test -f "$overlay/kustomization.yaml" || { echo "there is no overlay $overlay" >&2; exit 1; }
test "$overlay" != production || test -n "$host" || { echo "production needs the webhook's host name" >&2; exit 1; }

work=$(mktemp -d "./.release.XXXXXX")
trap 'rm -rf "$work"' EXIT
case $image in
  *@sha256:*) version="digest: ${image#*@}" name=${image%@*} ;;
  *:*) version="newTag: \"${image##*:}\"" name=${image%:*} ;;
  *) echo "$image has neither tag nor digest" >&2; exit 1 ;;
esac
cat > "$work/kustomization.yaml" <<END
bases: [../$overlay]
images:
  - name: data-engineering-quiz
    newName: $name
    $version
END
kubectl kustomize "$work" > "$work/rendered.yaml"
sed "s|quiz\.example\.org|${host:-quiz.example.org}|g" "$work/rendered.yaml" > "$work/all.yaml"
if [ -n "${RENDER_ONLY:-}" ]; then
  cat "$work/all.yaml"
  exit
fi

kubectl -n quiz delete job quiz-init --ignore-not-found   # a Job cannot be changed
kubectl apply -f "$work/all.yaml"
kubectl -n quiz wait --for=condition=complete job/quiz-init --timeout=600s
for deployment in quiz-bot quiz-worker prefect-server prefect-worker; do
  kubectl -n quiz rollout status "deployment/$deployment" --timeout=600s
done

for _ in $(seq 60); do
  if kubectl -n quiz exec deployment/quiz-bot -- python deploy/healthcheck.py http://127.0.0.1:8080/ready; then
    echo "$image is ready"
    exit
  fi
  sleep 5
done
echo "$image is not ready; above stands why" >&2
exit 1
