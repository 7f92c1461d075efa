"""Files by which systems start the server with its user's login. Pure.

Sources: systemd.exec(5), systemd.service(5), podman-systemd.unit(5), launchd.plist(5), and the Task Scheduler's schema,
https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. Engines make machine code and map GPUs, so
nothing here forbids memory that is written and run, or hides devices.
"""

from __future__ import annotations

from typing import NamedTuple
from xml.sax.saxutils import escape


class Place(NamedTuple):
    """What a file has to name."""

    command: tuple[str, ...]
    """How `lf` is started here."""
    data: str
    """Where it writes."""
    moved: str | None
    """`LF_HOME`, where it is set."""
    log: str
    """Where a server without a journal writes its log."""


def make_unit(kind: str, place: Place) -> str:
    """The file for one of `UNITS`."""
    return UNITS[kind](place)


def _make_systemd(place: Place) -> str:
    moved = f"Environment={_quote_systemd(f'LF_HOME={place.moved}')}\n" if place.moved else ""
    command = " ".join(map(_quote_systemd, (*place.command, "serve")))
    return f"""\
# lf's server as a unit of your user's systemd. Write it to its place and switch it on:
#   lf server unit systemd > ~/.config/systemd/user/lf.service
#   systemctl --user daemon-reload && systemctl --user enable --now lf
# It starts with your login; from the machine's start on after: loginctl enable-linger
# What it says: journalctl --user -u lf. Options of `lf serve` go behind `serve` below.
[Unit]
Description=Local language models at one address (lf serve)
Documentation=https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html

[Service]
{moved}ExecStart={command}
Restart=on-failure
# 2: an option or the key is wrong, and stays so.
RestartPreventExitStatus=2
RestartSec=5
TimeoutStopSec=15
# Nothing below needs privileges. Left out are MemoryDenyWriteExecute and PrivateDevices: engines make machine code
# for this processor, and find GPUs by their devices.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
UMask=0077

[Install]
WantedBy=default.target
"""


def _make_quadlet(place: Place) -> str:
    return f"""\
# lf's server in a container, as a quadlet of your user's systemd. First an image with lf in it:
#   printf 'FROM docker.io/library/python:3.12-slim\\nRUN pip install localfirst[llama]\\n' | podman build -t lf -
#   lf server unit quadlet > ~/.config/containers/systemd/lf.container
#   systemctl --user daemon-reload && systemctl --user start lf
# A server in a container listens beyond its loopback, so it has a key: put one of 16 letters or more into the secret
#   openssl rand -hex 16 | podman secret create lf-key -
# A GPU of NVIDIA's needs its container toolkit, and the line AddDevice=nvidia.com/gpu=all.
[Unit]
Description=Local language models at one address (lf serve, in a container)

[Container]
Image=localhost/lf
Exec=lf serve --host 0.0.0.0 --api-key-file /run/secrets/lf-key
Environment=LF_HOME=/data
Volume={_quote_systemd(f"{place.data}:/data")}
Secret=lf-key
PublishPort=127.0.0.1:12060:12060
DropCapability=all
NoNewPrivileges=true
UserNS=keep-id

[Service]
Restart=on-failure
# 2: an option or the key is wrong, and stays so.
RestartPreventExitStatus=2

[Install]
WantedBy=default.target
"""


def _make_launchd(place: Place) -> str:
    words = "\n".join(f"    <string>{escape(word)}</string>" for word in (*place.command, "serve", "--log", place.log))
    moved = (
        f"  <key>EnvironmentVariables</key>\n  <dict><key>LF_HOME</key><string>{escape(place.moved)}</string></dict>\n"
        if place.moved
        else ""
    )
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- lf's server as an agent of your login. Write it to its place and switch it on:
       lf server unit launchd > ~/Library/LaunchAgents/lf.server.plist
       launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/lf.server.plist
     Off again: launchctl bootout gui/$(id -u)/lf.server
     Options of `lf serve` go behind `serve` below, a string each. -->
<plist version="1.0">
<dict>
  <key>Label</key><string>lf.server</string>
  <key>ProgramArguments</key>
  <array>
{words}
  </array>
{moved}  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>ExitTimeOut</key><integer>15</integer>
  <key>ProcessType</key><string>Interactive</string>
  <key>Umask</key><integer>63</integer>
</dict>
</plist>
"""


def _make_task(place: Place) -> str:
    words = (*place.command, "serve", "--log", place.log)
    return f"""\
<?xml version="1.0"?>
<!-- lf's server as a task of your login, in Windows' Task Scheduler. In PowerShell:
       lf server unit task | Set-Content lf.xml
       Register-ScheduledTask -TaskName lf -Xml (Get-Content lf.xml -Raw); Start-ScheduledTask lf
     Off again: Unregister-ScheduledTask lf. A task is given no variables: LF_HOME has to be set for your user.
     Options of `lf serve` go behind `serve` below. -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers>
    <LogonTrigger><Enabled>true</Enabled></LogonTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>3</Count></RestartOnFailure>
  </Settings>
  <Actions>
    <Exec>
      <Command>{escape(words[0])}</Command>
      <Arguments>{escape(" ".join(map(_quote_windows, words[1:])))}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def _quote_systemd(word: str) -> str:
    """A word as systemd reads it: `%` begins a specifier, `$` a variable. Source: systemd.syntax(7)."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if set(text) & set(" \t\"\\'$;") else text


def _quote_windows(word: str) -> str:
    """A word of a command line; no path has a quote in it."""
    return f'"{word}"' if " " in word else word


UNITS = {"systemd": _make_systemd, "launchd": _make_launchd, "task": _make_task, "quadlet": _make_quadlet}
"""What makes the file for each kind of service manager."""
