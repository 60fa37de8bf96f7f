{{/* What the operator puts into the probe's DaemonSet, as JSON. */}}
{{- define "securitywatch.probeConfig" -}}
{{- $name := printf "%s-probe" (include "securitywatch.fullname" .) -}}
{{- $probe := .Values.probe -}}
{{- $pullSecrets := list -}}
{{- range .Values.imagePullSecrets -}}
{{- $pullSecrets = append $pullSecrets .name -}}
{{- end -}}
{{- /* What the PodMonitor and the NetworkPolicy select by stands last and wins. */ -}}
{{- $labels := merge
  (include "securitywatch.selectorLabels" (dict "root" . "component" "probe") | fromYaml)
  (dict "app.kubernetes.io/part-of" "securitywatch")
  $probe.podLabels .Values.commonLabels -}}
{{- $host := .Values.operator.alertsHost | default (printf "%s-operator.%s.svc" (include "securitywatch.fullname" .) (include "securitywatch.namespace" .)) -}}
{{- dict
  "name" $name
  "serviceAccountName" $name
  "image" (include "securitywatch.image" (dict "root" . "image" $probe.image))
  "imagePullPolicy" $probe.image.pullPolicy
  "imagePullSecrets" $pullSecrets
  "resources" $probe.resources
  "tolerations" $probe.tolerations
  "nodeSelector" $probe.nodeSelector
  "affinity" $probe.affinity
  "priorityClassName" $probe.priorityClassName
  "updateStrategy" $probe.updateStrategy
  "privileged" $probe.privileged
  "operatorUrl" (printf "https://%s:%d" $host (.Values.operator.alertsPort | int))
  "clusterName" .Values.clusterName
  "metricsPort" ($probe.metricsPort | int)
  "healthPort" ($probe.healthPort | int)
  "logLevel" $probe.logLevel
  "podLabels" $labels
  "podAnnotations" $probe.podAnnotations
  "eventLog" $probe.eventLog
  | toPrettyJson -}}
{{- end -}}
