package node

import (
	"fmt"
	"path/filepath"
)

// Emulator is the program that runs a node.
const Emulator = "qemu-system-x86_64"

// Names in the cluster's directory, which the emulator runs in: the path of a socket is at most 107 bytes long.
const (
	lanSocket     = "lan"
	programsDisk  = "programs.img"
	imagesDisk    = "images.tar"
	memoryMiB     = 3072
	processors    = 2
	monitorSuffix = ".monitor"
)

// Prepared is the folder that `e2e/setup node` makes: kernel and root file system.
type Prepared string

func (p Prepared) kernel() string { return filepath.Join(string(p), "vmlinuz") }
func (p Prepared) root() string   { return filepath.Join(string(p), "root.img") }

// disk is one namespace of the guest's NVMe controller, whose driver every Debian kernel has built in: nvme0n1, nvme0n2...
type disk struct{ path, options string }

const (
	// What is written is thrown away at the end of the emulator, but is there after a reboot of the guest.
	temporary = "snapshot=on,cache=unsafe"
	kept      = "cache=unsafe"
	readOnly  = "readonly=on"
)

func machineArguments(p Prepared, disks []disk) []string {
	arguments := []string{
		"-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi",
		"-smp", fmt.Sprint(processors), "-m", fmt.Sprint(memoryMiB),
		"-nodefaults", "-display", "none", "-serial", "stdio",
		"-kernel", p.kernel(),
		"-append", "root=/dev/nvme0n1 rw rootwait console=ttyS0 quiet panic=1 net.ifnames=0 systemd.show_status=0",
		"-device", "nvme,id=disks,serial=disks",
	}
	for i, d := range disks {
		arguments = append(arguments,
			"-drive", fmt.Sprintf("file=%s,if=none,id=disk%d,format=raw,%s", d.path, i+1, d.options),
			"-device", fmt.Sprintf("nvme-ns,drive=disk%d,bus=disks,nsid=%d", i+1, i+1))
	}
	return arguments
}

// arguments of the emulator for a node, run in the cluster's directory.
func arguments(p Prepared, n Node, images bool) []string {
	disks := []disk{{p.root(), temporary}, {programsDisk, readOnly}, {n.archive(), readOnly}}
	if images {
		disks = append(disks, disk{imagesDisk, readOnly})
	}
	return append(machineArguments(p, disks),
		"-netdev", fmt.Sprintf("user,id=host,hostfwd=tcp:127.0.0.1:%d-:%d", n.KubeletHostPort, KubeletPort),
		"-device", "virtio-net-pci,netdev=host,romfile=",
		"-netdev", fmt.Sprintf("stream,id=lan,server=off,addr.type=unix,addr.path=%s", lanSocket),
		"-device", "virtio-net-pci,netdev=lan,romfile=,mac="+n.lanMAC(),
		"-qmp", fmt.Sprintf("unix:%s,server=on,wait=off", n.Monitor()))
}

func (n Node) archive() string { return n.Name() + ".tar" }

// Monitor is the socket that Do takes, in the cluster's directory.
func (n Node) Monitor() string { return n.Name() + monitorSuffix }
