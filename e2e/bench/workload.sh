#!/bin/bash
# For `make bench` to record in a guest: processes of a few programs, each with a directory and arguments of its own, and
# file accesses and connections that the policies of the bench name.
number=0
for program in /usr/bin/*; do
  number=$((number + 1))
  name=${program##*/}
  cd "/usr/share" && [ $((number % 3)) = 0 ] && cd "/tmp"
  /usr/bin/env -- "REQUEST=$number" /bin/echo "--input=/srv/data/$number/$name.json" "--shard=$((number % 7))" "run $name $RANDOM"
  /bin/ls -l "$program" "/var/lib/$name/$RANDOM"
  case $((number % 5)) in
    0) /bin/cat /etc/shadow /etc/profile ;;
    1) read -r line < /etc/pam.conf; read -r line < /root/.bashrc ;;
    2) echo "$name" >> "/var/log/$name.log"; echo "$number" > "/etc/bench-$name.conf" ;;
    3) /usr/bin/stat "$program" ; read -r line < /etc/shadow ;;
    4) echo x >> /var/log/bench.log ;;
  esac
  (exec 3<> "/dev/tcp/93.184.215.14/$((1000 + number))")
  (exec 3<> "/dev/tcp/10.9.9.9/$((2000 + number))")
done
exit 0
