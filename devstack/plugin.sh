#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# DevStack plugin: installs, configures and starts VM high availability.
# Sourced by stack.sh, unstack.sh and clean.sh as: plugin.sh MODE [PHASE]
#
# The variables that come from DevStack and from settings are not set in this file:
# shellcheck disable=SC2153,SC2154

_XTRACE_VMHA=$(set +o | grep xtrace)
set +o xtrace

VMHA_BIN_DIR=${VMHA_BIN_DIR:-$(get_python_exec_prefix)}
# What vmha polls and listens on is its own, so that nobody else's pipeline delays or drops it.
VMHA_TOPIC=vmha_notifications

function is_vmha_enabled {
    [[ ,${ENABLED_SERVICES} =~ ,"vmha-" ]]
}

function install_vmha {
    setup_develop "$VMHA_DIR" cli,mysql,pollsters
}

# A key that all nodes come to by themselves: it is derived from what they share already.
function _vmha_write_key {
    local path=$1
    local secret=$2
    (umask 077 && printf '%s' "$secret" | sha256sum | cut -d ' ' -f 1 > "$path")
}

function _vmha_configure_agent {
    local key=$VMHA_CONF_DIR/heartbeat.key
    _vmha_write_key "$key" "${VMHA_HEARTBEAT_KEY:-heartbeat $SERVICE_PASSWORD}"
    iniset "$VMHA_AGENT_CONF" agent host "$(hostname)"
    iniset "$VMHA_AGENT_CONF" agent address "$HOST_IP"
    iniset "$VMHA_AGENT_CONF" agent socket "$VMHA_RUN_DIR/agent.sock"
    iniset "$VMHA_AGENT_CONF" agent lease_driver slots
    iniset "$VMHA_AGENT_CONF" agent lease_path "$VMHA_LEASE_PATH"
    iniset "$VMHA_AGENT_CONF" agent cluster "$VMHA_CLUSTER"
    iniset "$VMHA_AGENT_CONF" agent key_file "$key"
    if [[ -n "$VMHA_ISOLATION_ADDRESSES" ]]; then
        iniset "$VMHA_AGENT_CONF" agent isolation_addresses "$VMHA_ISOLATION_ADDRESSES"
    fi
}

# retry=0 and short broker heartbeats are for these two processes only: with the defaults a
# broker that does not answer blocks one publication for more than a minute.
function _vmha_configure_ceilometer {
    local conf=$1
    iniset_rpc_backend ceilometer "$conf"
    iniset "$conf" oslo_messaging_notifications topics "$VMHA_TOPIC"
    iniset "$conf" oslo_messaging_notifications retry 0
    iniset "$conf" oslo_messaging_rabbit heartbeat_timeout_threshold 6
    configure_keystoneauth "$conf" ceilometer service_credentials
    iniset "$conf" service_credentials region_name "$REGION_NAME"
    iniset "$conf" service_credentials timeout 5
}

function _vmha_configure_polling {
    _vmha_configure_ceilometer "$VMHA_POLLING_CONF"
    iniset "$VMHA_POLLING_CONF" DEFAULT host "$(hostname)"
    iniset "$VMHA_POLLING_CONF" polling cfg_file "$VMHA_CONF_DIR/telemetry/polling.yaml"
    iniset "$VMHA_POLLING_CONF" polling batch_size 200
    iniset "$VMHA_POLLING_CONF" polling heartbeat_socket_dir "$VMHA_RUN_DIR"
    iniset "$VMHA_POLLING_CONF" vmha agent_socket "$VMHA_RUN_DIR/agent.sock"
}

function _vmha_configure_notification {
    _vmha_configure_ceilometer "$VMHA_NOTIFICATION_CONF"
    iniset "$VMHA_NOTIFICATION_CONF" DEFAULT \
        pipeline_cfg_file "$VMHA_CONF_DIR/telemetry/pipeline.yaml"
    iniset "$VMHA_NOTIFICATION_CONF" notification pipelines meter
    iniset "$VMHA_NOTIFICATION_CONF" notification workers 1
    iniset "$VMHA_NOTIFICATION_CONF" notification batch_size 1
}

# A lock file reaches the engines of one node only: on another one an engine would never lead.
function _vmha_check_coordination {
    local here
    here=" $HOST_IP 127.0.0.1 localhost $(hostname) "
    if [[ "$VMHA_COORDINATION_URL" == file:* && "$here" != *" $VMHA_SERVICE_HOST "* ]]; then
        warn $LINENO "vmha-remediator is enabled beside $VMHA_SERVICE_HOST's, and its" \
            "VMHA_COORDINATION_URL is a file: it only stands by. Name a service that both reach," \
            "such as etcd3+http://HOST:2379, on all nodes, or disable vmha-remediator here"
    fi
}

function _vmha_configure_remediator {
    local key=$VMHA_CONF_DIR/webhook.key
    _vmha_check_coordination
    _vmha_write_key "$key" "webhook $SERVICE_PASSWORD"
    configure_keystoneauth "$VMHA_CONF" vmha cloud
    iniset "$VMHA_CONF" cloud region_name "$REGION_NAME"
    iniset "$VMHA_CONF" api host "$VMHA_SERVICE_HOST"
    iniset "$VMHA_CONF" api port "$VMHA_SERVICE_PORT"
    iniset "$VMHA_CONF" webhook base_url "http://$VMHA_SERVICE_HOST:$VMHA_SERVICE_PORT"
    iniset "$VMHA_CONF" webhook key_file "$key"
    iniset "$VMHA_CONF" database connection "$(database_connection_url vmha)"
    iniset "$VMHA_CONF" engine coordination_url "$VMHA_COORDINATION_URL"
    iniset "$VMHA_CONF" evacuation protect "$VMHA_PROTECT"
    iniset "$VMHA_CONF" fencing hosts_file "$VMHA_FENCING_FILE"
    if [[ ! -e "$VMHA_FENCING_FILE" ]]; then
        (umask 077 && printf 'hosts:\n  %s: {drivers: [manual]}\n' "$(hostname)" \
            > "$VMHA_FENCING_FILE")
    fi
}

# Gnocchi and Aodh look once a minute by default: every detection would be as much later.
function _vmha_tune_telemetry {
    if [[ -n "$GNOCCHI_CONF" && -e "$GNOCCHI_CONF" ]]; then
        iniset "$GNOCCHI_CONF" metricd metric_processing_delay 1
    fi
    if [[ -n "$AODH_CONF" && -e "$AODH_CONF" ]]; then
        iniset "$AODH_CONF" evaluator evaluation_interval 2
        iniset "$AODH_CONF" service_credentials timeout 3
        iniset "$AODH_CONF" DEFAULT record_history False
    fi
}

function configure_vmha {
    sudo install -d -o "$STACK_USER" -m 750 "$VMHA_CONF_DIR" "$VMHA_DATA_DIR"
    sudo install -d -o "$STACK_USER" -m 755 "$VMHA_RUN_DIR"
    if is_service_enabled vmha-agent; then
        _vmha_configure_agent
    fi
    if is_service_enabled vmha-polling; then
        _vmha_configure_polling
    fi
    if is_service_enabled vmha-notification; then
        _vmha_configure_notification
    fi
    if is_service_enabled vmha-polling || is_service_enabled vmha-notification; then
        # A compute node has no vmha.conf, and needs none for this.
        "$VMHA_BIN_DIR/vmha-manage" telemetry render --dir "$VMHA_CONF_DIR/telemetry"
    fi
    if is_service_enabled vmha-remediator; then
        _vmha_configure_remediator
        _vmha_tune_telemetry
    fi
}

function init_vmha {
    if is_service_enabled vmha-agent && [[ ! -e "$VMHA_LEASE_PATH" ]]; then
        "$VMHA_BIN_DIR/vmha-agent" init "$VMHA_LEASE_PATH" \
            --hosts "$VMHA_LEASE_HOSTS" --cluster "$VMHA_CLUSTER"
    fi
    if is_service_enabled vmha-remediator; then
        create_service_user vmha admin
        get_or_create_service vmha vmha "VM high availability"
        get_or_create_endpoint vmha "$REGION_NAME" \
            "http://$VMHA_SERVICE_HOST:$VMHA_SERVICE_PORT"
        if [[ "$VMHA_COORDINATION_URL" == file://* ]]; then
            mkdir -p "${VMHA_COORDINATION_URL#file://}"
        fi
        if is_service_enabled $DATABASE_BACKENDS; then  # a second node shares that of the first
            recreate_database vmha
        fi
        "$VMHA_BIN_DIR/vmha-manage" --config-file "$VMHA_CONF" db upgrade
        "$VMHA_BIN_DIR/vmha-manage" --config-file "$VMHA_CONF" telemetry setup
    fi
}

function start_vmha {
    run_process vmha-agent "$VMHA_BIN_DIR/vmha-agent --config-file $VMHA_AGENT_CONF"
    run_process vmha-polling "$VMHA_BIN_DIR/ceilometer-polling \
--polling-namespaces vmha --config-file $VMHA_POLLING_CONF"
    run_process vmha-notification "$VMHA_BIN_DIR/ceilometer-agent-notification \
--config-file $VMHA_NOTIFICATION_CONF"
    run_process vmha-remediator "$VMHA_BIN_DIR/vmha-remediator --config-file $VMHA_CONF"
    if is_service_enabled vmha-remediator; then
        if ! wait_for_service "$SERVICE_TIMEOUT" \
            "http://$VMHA_SERVICE_HOST:$VMHA_SERVICE_PORT/healthcheck"; then
            die $LINENO "vmha-remediator did not start"
        fi
        "$VMHA_BIN_DIR/vmha-manage" --config-file "$VMHA_CONF" \
            alarms sync --host "$(hostname)"
    fi
}

function stop_vmha {
    local service
    for service in vmha-remediator vmha-notification vmha-polling vmha-agent; do
        stop_process "$service"
    done
}

function cleanup_vmha {
    sudo rm -rf "$VMHA_CONF_DIR" "$VMHA_DATA_DIR" "$VMHA_RUN_DIR"
}

if is_vmha_enabled; then
    case "$1 $2" in
    "stack install")
        echo_summary "Installing VM high availability"
        install_vmha
        ;;
    "stack post-config")
        echo_summary "Configuring VM high availability"
        configure_vmha
        ;;
    "stack extra")
        echo_summary "Starting VM high availability"
        init_vmha
        start_vmha
        ;;
    "unstack "*)
        stop_vmha
        ;;
    "clean "*)
        cleanup_vmha
        ;;
    esac
fi

$_XTRACE_VMHA
