// Runtime is runc for a caller with fewer capabilities than root usually has.
//
// A container engine asks for every capability of the kernel for a privileged container, and
// runc fails where the caller lacks one ("unable to apply caps"). Here those that the caller
// lacks are taken out of config.json (create, run) and of the process file (exec), and so are
// resource limits above the caller's own.
//
// An engine in a network namespace of its own sets ip_forward there, but new namespaces take it
// from the machine's first one; kubeadm asks for it. So containers with a network namespace of
// their own get it here. Everything else goes to runc as it came.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// names of the capabilities by number: linux/capability.h
var names = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
	LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
	SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD
	LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
	PERFMON BPF CHECKPOINT_RESTORE`)

// numbers of the limits: linux/resource.h
var limits = map[string]int{"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3,
	"RLIMIT_CORE": 4, "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8,
	"RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13,
	"RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15}

func main() {
	runc := os.Getenv("RUNC")
	if runc == "" {
		runc = "/usr/sbin/runc"
	}
	if err := adapt(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runtime:", err)
		os.Exit(1)
	}
	err := syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "runtime:", runc, err)
	os.Exit(1)
}

func adapt(args []string) error {
	command, bundle, process := "", ".", ""
	for index, arg := range args {
		value := ""
		if index+1 < len(args) {
			value = args[index+1]
		}
		switch {
		case command == "" && (arg == "create" || arg == "run" || arg == "exec"):
			command = arg
		case arg == "--bundle" || arg == "-b":
			bundle = value
		case arg == "--process" || arg == "-p":
			process = value
		}
	}
	switch {
	case command == "exec" && process != "":
		return change(process, func(document map[string]any) map[string]any { return document })
	case command == "create" || command == "run":
		return change(filepath.Join(bundle, "config.json"), func(document map[string]any) map[string]any {
			forward(document)
			inner, _ := document["process"].(map[string]any)
			return inner
		})
	}
	return nil
}

func forward(document map[string]any) {
	linux, _ := document["linux"].(map[string]any)
	namespaces, _ := linux["namespaces"].([]any)
	for _, item := range namespaces {
		namespace := item.(map[string]any)
		if namespace["type"] != "network" || namespace["path"] != nil {
			continue
		}
		sysctl, _ := linux["sysctl"].(map[string]any)
		if sysctl == nil {
			sysctl = map[string]any{}
		}
		if sysctl["net.ipv4.ip_forward"] == nil {
			sysctl["net.ipv4.ip_forward"] = "1"
		}
		linux["sysctl"] = sysctl
	}
}

func change(path string, process func(map[string]any) map[string]any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	inner := process(document)
	if inner == nil {
		return nil
	}
	own, err := capabilities()
	if err != nil {
		return err
	}
	sets, _ := inner["capabilities"].(map[string]any)
	for set, value := range sets {
		kept := []any{}
		for _, name := range value.([]any) {
			if own[name.(string)] {
				kept = append(kept, name)
			}
		}
		sets[set] = kept
	}
	rlimits, _ := inner["rlimits"].([]any)
	for _, item := range rlimits {
		limit := item.(map[string]any)
		number, known := limits[limit["type"].(string)]
		var ours syscall.Rlimit
		if !known || syscall.Getrlimit(number, &ours) != nil {
			continue
		}
		for _, key := range []string{"hard", "soft"} {
			if asked, err := strconv.ParseUint(limit[key].(json.Number).String(), 10, 64); err == nil && asked > ours.Max {
				limit[key] = ours.Max
			}
		}
	}
	text, err = json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func capabilities() (map[string]bool, error) {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	own := map[string]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		text, found := strings.CutPrefix(lines.Text(), "CapBnd:")
		if !found {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if err != nil {
			return nil, err
		}
		for number, name := range names {
			own["CAP_"+name] = mask&(1<<number) != 0
		}
	}
	return own, lines.Err()
}
