# Functions that the scripts in this folder share. Sourced by bash, from the root of the project.
# shellcheck shell=bash

# Runs apt-get as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs those of the named Debian packages that are missing; reads the package index only then.
debian_packages() {
  local package missing=()
  for package in "$@"; do
    if ! dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null |
      grep -qx installed; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -gt 0 ]; then
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq install --yes --no-install-recommends "${missing[@]}"
  fi
}

# Installs Debian packages for the other architecture, beside what is there.
arm64_packages() {
  if ! dpkg --print-foreign-architectures | grep -qx arm64; then
    as_root dpkg --add-architecture arm64
    as_root apt-get -qq update
  fi
  debian_packages "$@"
}

# Sets what tools for AWS would otherwise ask of the network, or read from and leave in a home: what
# they leave goes to $1.
local_aws_only() {
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  export AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
  export AWS_EC2_METADATA_DISABLED=true AWS_PAGER='' AWS_MAX_ATTEMPTS=2
  export SAM_CLI_TELEMETRY=0 __SAM_CLI_APP_DIR=$1/sam
  export CDK_DISABLE_CLI_TELEMETRY=true CDK_HOME=$1/cdk CI=true
  export CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null
}

# Makes the virtual environment $1 hold exactly what the requirements $2 name, by their hashes.
# An environment that was made from the same file is left as it is.
python_tools() {
  local folder=$1 requirements=$2
  if ! cmp -s "$requirements" "$folder/requirements.txt"; then
    rm -rf "$folder"
    # The interpreter of the distribution: another one on PATH may come without ensurepip.
    debian_packages python3 python3-venv
    /usr/bin/python3 -m venv "$folder"
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check install \
      --no-deps --only-binary :all: --require-hashes --requirement "$requirements"
    # Copied last: it says that the environment is whole.
    cp "$requirements" "$folder/requirements.txt"
  fi
}

# Installs the program $1 of crates.io in version $2, with further options, into
# $CARGO_TARGET_DIR/tools. It is not optimised: building it takes longer than what it does.
cargo_tool() {
  local root=$CARGO_TARGET_DIR/tools
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --root "$root" \
    --target-dir "$root/target" "$1@$2" "${@:3}"
}
