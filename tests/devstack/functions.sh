# SPDX-License-Identifier: Apache-2.0
# Stand-ins for the functions of DevStack that the plugin calls. What writes files writes them;
# what talks to a cloud or to systemd is written down in $CALLS, one call a line.
# shellcheck disable=SC2034

function note { printf '%s\n' "$*" >> "$CALLS"; }

function define_plugin { note "define_plugin $*"; }
function plugin_requires { note "plugin_requires $*"; }
function enable_service {
    local name
    for name in "$@"; do
        ENABLED_SERVICES="${ENABLED_SERVICES:+$ENABLED_SERVICES,}$name"
    done
}
function is_service_enabled {
    local name
    for name in "$@"; do
        [[ ",$ENABLED_SERVICES," == *",$name,"* ]] && return 0
    done
    return 1
}
function get_python_exec_prefix { echo "$FAKE_BIN"; }
function setup_develop { note "setup_develop $*"; }
function warn { shift; note "warn $*"; }
function echo_summary { note "summary $*"; }
function die { echo "died: $*" >&2; exit 1; }
function iniset { "$FAKE_PYTHON" "$FAKE_INISET" "$1" "$2" "$3" "$4"; }
function iniset_rpc_backend { iniset "$2" DEFAULT transport_url "rabbit://stack:pw@$SERVICE_HOST/"; }
function database_connection_url { echo "sqlite:///$VMHA_DATA_DIR/$1.sqlite"; }
function recreate_database { note "recreate_database $1"; }
function configure_keystoneauth {
    iniset "$1" "$3" auth_type password
    iniset "$1" "$3" interface public
    iniset "$1" "$3" auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$1" "$3" username "$2"
    iniset "$1" "$3" password "$SERVICE_PASSWORD"
    iniset "$1" "$3" user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$1" "$3" project_name "$SERVICE_PROJECT_NAME"
    iniset "$1" "$3" project_domain_name "$SERVICE_DOMAIN_NAME"
}
function create_service_user { note "create_service_user $*"; }
function get_or_create_service { note "get_or_create_service $*"; }
function get_or_create_endpoint { note "get_or_create_endpoint $*"; }
function wait_for_service { note "wait_for_service $*"; }
function run_process {
    # As DevStack's: only enabled services, and the command has to begin with an absolute path.
    is_service_enabled "$1" || return 0
    [[ "$2" == /* ]] || die "run_process $1: no absolute path: $2"
    note "run_process $1 $2"
}
function stop_process { note "stop_process $1"; }
function sudo { "$@"; }
