// SPDX-License-Identifier: Apache-2.0

package ebpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -no-global-types -go-package ebpf -output-stem objects -target bpfel -cflags "-O2 -g -mcpu=v2 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-declarations" -type state -type proc -type session -type hold -type settings -type net4_key -type net6_key -type net_span -type net_value -type inode_id -type deny_value -type name_key -type file_id -type exe_key -type argv_key -type counters -type record_head -type exec_record -type exit_record -type connect_record -type refused_record -type socket_record -type signal_record -type killed_record -type probed_file -type record_type -type exec_action -type kill_reason -type hook -type exec_flag -type proc_flag -type name_flag -type net_protocol -type net_decision -type limit kernel bpf/paddock.bpf.c -- -I./bpf -I/usr/include
