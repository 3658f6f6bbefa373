// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Paddock's kernel side: one object, so that all programs share their maps. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>

#include "maps.h"
#include "shared.h"
#include "process.h"
#include "network.h"
#include "refuse.h"
#include "bounds.h"
#include "walk.h"
#include "boundary.h"
#include "others.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the type information of what only a ring carries: Go is generated from it. */
#define EXPORT(kind, name) const kind name *export_##name __attribute__((unused))
EXPORT(struct, exit_record);
EXPORT(struct, connect_record);
EXPORT(struct, refused_record);
EXPORT(struct, socket_record);
EXPORT(struct, signal_record);
EXPORT(struct, killed_record);
EXPORT(struct, probed_file);
EXPORT(struct, began);
EXPORT(struct, flow_question);
EXPORT(struct, file_record);
EXPORT(enum, record_type);
EXPORT(enum, exec_action);
EXPORT(enum, kill_reason);
EXPORT(enum, hook);
EXPORT(enum, exec_flag);
EXPORT(enum, proc_flag);
EXPORT(enum, name_flag);
EXPORT(enum, mark);
EXPORT(enum, net_protocol);
EXPORT(enum, net_decision);
EXPORT(enum, net_rule);
EXPORT(enum, listener);
EXPORT(enum, flow_kind);
EXPORT(enum, network_flag);
EXPORT(enum, limit);
EXPORT(enum, boundary_mode);
EXPORT(enum, bound_flag);
EXPORT(enum, file_op);
EXPORT(enum, file_why);
EXPORT(struct, bound_session);
/* clang leaves the types of inner maps as forward declarations otherwise. */
EXPORT(struct, settings);
EXPORT(struct, net4_key);
EXPORT(struct, net6_key);
EXPORT(struct, net_value);
EXPORT(struct, inode_id);
EXPORT(struct, deny_value);
EXPORT(struct, bound_key);
EXPORT(struct, bound_name_key);
EXPORT(struct, bound);
EXPORT(struct, memory);
