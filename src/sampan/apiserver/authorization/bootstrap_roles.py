"""The roles and bindings that a cluster begins with, as lines of text; `bootstrap.py` reads and reconciles them.

A line at the margin names a role, with what it aggregates (`gathers`) and where it goes into (`feeds`). An indented one
is a rule: verbs, API groups (`-` is the core), resources, and after `=` resource names; or verbs and URLs. `read`,
`write` and `full` stand for upstream's sets of verbs; `events` for the rule by which components record events. What
ends with a comma goes on in the next line.

Source: kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,namespace_policy}.go and testdata/
"""

from __future__ import annotations

CLUSTER_ROLES = """
admin gathers=admin
cluster-admin
  * * *
  * *
edit gathers=edit feeds=admin
system:aggregate-to-admin feeds=admin
  create authorization.k8s.io localsubjectaccessreviews
  full rbac.authorization.k8s.io rolebindings,roles
system:aggregate-to-edit feeds=edit
  read - pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
  impersonate - serviceaccounts
  write - pods,pods/attach,pods/exec,pods/portforward,pods/proxy
  create - pods/eviction
  write - configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,
    serviceaccounts,services,services/proxy
  create - serviceaccounts/token
  write apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,
    statefulsets/scale
  write autoscaling horizontalpodautoscalers
  write batch cronjobs,jobs
  write extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,
    replicasets/scale,replicationcontrollers/scale
  write policy poddisruptionbudgets
  write networking.k8s.io ingresses,networkpolicies
  full coordination.k8s.io leases
  write resource.k8s.io resourceclaims,resourceclaimtemplates
system:aggregate-to-view feeds=view
  read - configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,
    replicationcontrollers/scale,serviceaccounts,services,services/status
  read - bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,
    resourcequotas,resourcequotas/status
  read - namespaces
  read discovery.k8s.io endpointslices
  read apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,
    replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
  read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status
  read batch cronjobs,cronjobs/status,jobs,jobs/status
  read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,
    ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
  read policy poddisruptionbudgets,poddisruptionbudgets/status
  read networking.k8s.io ingresses,ingresses/status,networkpolicies
  read resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates
system:aggregated-metrics-reader feeds=view
  read metrics.k8s.io nodes,pods
system:auth-delegator
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
system:basic-user
  create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
  create authentication.k8s.io selfsubjectreviews
system:certificates.k8s.io:certificatesigningrequests:nodeclient
  create certificates.k8s.io certificatesigningrequests/nodeclient
system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
  create certificates.k8s.io certificatesigningrequests/selfnodeclient
system:certificates.k8s.io:kube-apiserver-client-approver
  approve certificates.k8s.io signers =kubernetes.io/kube-apiserver-client
system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
  approve certificates.k8s.io signers =kubernetes.io/kube-apiserver-client-kubelet
system:certificates.k8s.io:kubelet-serving-approver
  approve certificates.k8s.io signers =kubernetes.io/kubelet-serving
system:certificates.k8s.io:legacy-unknown-approver
  approve certificates.k8s.io signers =kubernetes.io/legacy-unknown
system:cluster-trust-bundle-discovery
  read certificates.k8s.io clustertrustbundles
system:discovery
  get /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/
system:heapster
  read - events,namespaces,nodes,pods
  read extensions deployments
system:kube-aggregator
  read - endpoints,services
system:kube-controller-manager
  events
  create coordination.k8s.io leases
  get,update coordination.k8s.io leases =kube-controller-manager
  create - secrets,serviceaccounts
  delete - secrets
  get - configmaps,namespaces,secrets,serviceaccounts
  update - secrets,serviceaccounts
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  list,watch * *
  create - serviceaccounts/token
system:kube-dns
  list,watch - endpoints,services
system:kube-scheduler
  events
  create coordination.k8s.io leases
  get,list,update,watch coordination.k8s.io leases =kube-scheduler
  full coordination.k8s.io leasecandidates
  read - nodes
  delete,get,list,watch - pods
  create - bindings,pods/binding
  patch,update - pods/status
  read - replicationcontrollers,services
  read apps,extensions replicasets
  read apps statefulsets
  read policy poddisruptionbudgets
  read - persistentvolumeclaims,persistentvolumes
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  read storage.k8s.io csinodes
  read storage.k8s.io volumeattachments
  read - namespaces
  read storage.k8s.io csidrivers
  read storage.k8s.io csistoragecapacities
  read resource.k8s.io deviceclasses
  get,list,patch,update,watch resource.k8s.io resourceclaims
  get,list,patch,update,watch resource.k8s.io resourceclaims/status
  get,list,patch,update,watch - pods/finalizers
  read resource.k8s.io resourceslices
  patch,update resource.k8s.io resourceclaims/binding
  create,delete resource.k8s.io resourceclaims
  read resource.k8s.io devicetaintrules
system:kubelet-api-admin
  read - nodes
  proxy - nodes
  * - nodes/log,nodes/metrics,nodes/proxy,nodes/stats
  * - nodes/configz,nodes/healthz,nodes/pods
system:monitoring
  get /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*
  get /flagz
  get /statusz
system:node
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
  read - services
  create,get,list,watch - nodes
  patch,update - nodes/status
  patch,update - nodes
  create,patch,update - events
  read - pods
  create,delete - pods
  patch,update - pods/status
  create - pods/eviction
  read - configmaps,secrets
  get - persistentvolumeclaims,persistentvolumes
  get - endpoints
  create,get,list,watch certificates.k8s.io certificatesigningrequests
  create,delete,get,patch,update coordination.k8s.io leases
  get storage.k8s.io volumeattachments
  create - serviceaccounts/token
  get,patch,update - persistentvolumeclaims/status
  read storage.k8s.io csidrivers
  create,delete,get,patch,update storage.k8s.io csinodes
  read node.k8s.io runtimeclasses
  get resource.k8s.io resourceclaims
  deletecollection resource.k8s.io resourceslices
  read certificates.k8s.io clustertrustbundles
  get - serviceaccounts
  create,get,list,watch certificates.k8s.io podcertificaterequests
system:node-bootstrapper
  create,get,list,watch certificates.k8s.io certificatesigningrequests
system:node-problem-detector
  get - nodes
  patch - nodes/status
  events
system:node-proxier
  list,watch - endpoints,services
  read - nodes
  events
  list,watch networking.k8s.io servicecidrs
  list,watch discovery.k8s.io endpointslices
system:persistent-volume-provisioner
  create,delete,get,list,watch - persistentvolumes
  get,list,update,watch - persistentvolumeclaims
  read storage.k8s.io storageclasses
  watch - events
  events
system:public-info-viewer
  get /healthz,/livez,/readyz,/version,/version/
system:service-account-issuer-discovery
  get /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/
system:volume-scheduler
  get,list,patch,update,watch - persistentvolumes
  read storage.k8s.io storageclasses
  get,list,patch,update,watch - persistentvolumeclaims
view gathers=view feeds=edit
"""

#: binding, role, subjects: `g:` a group, `u:` a user, `s:` a ServiceAccount of kube-system
CLUSTER_BINDINGS = """
cluster-admin cluster-admin g:system:masters
system:basic-user system:basic-user g:system:authenticated
system:cluster-trust-bundle-discovery system:cluster-trust-bundle-discovery g:system:serviceaccounts
system:discovery system:discovery g:system:authenticated
system:kube-controller-manager system:kube-controller-manager u:system:kube-controller-manager
system:kube-dns system:kube-dns s:kube-dns
system:kube-scheduler system:kube-scheduler u:system:kube-scheduler
system:monitoring system:monitoring g:system:monitoring
system:node system:node
system:node-proxier system:node-proxier u:system:kube-proxy
system:public-info-viewer system:public-info-viewer g:system:authenticated,g:system:unauthenticated
system:service-account-issuer-discovery system:service-account-issuer-discovery g:system:serviceaccounts
system:volume-scheduler system:volume-scheduler u:system:kube-scheduler
"""

#: namespace/name
ROLES = """
kube-public/system:controller:bootstrap-signer
  read - configmaps
  update - configmaps =cluster-info
  events
kube-system/extension-apiserver-authentication-reader
  read - configmaps =extension-apiserver-authentication
kube-system/system::leader-locking-kube-controller-manager
  create,get,list,update,watch coordination.k8s.io leases
  create,get,list,update,watch coordination.k8s.io leasecandidates
kube-system/system::leader-locking-kube-scheduler
  create,get,list,update,watch coordination.k8s.io leases
  create,get,list,update,watch coordination.k8s.io leasecandidates
kube-system/system:controller:bootstrap-signer
  read - secrets
kube-system/system:controller:cloud-provider
  create,get,list,watch - configmaps
kube-system/system:controller:token-cleaner
  delete,get,list,watch - secrets
  events
"""

#: namespace/binding, role, subjects
BINDINGS = """
kube-public/system:controller:bootstrap-signer system:controller:bootstrap-signer s:bootstrap-signer
kube-system/system::extension-apiserver-authentication-reader extension-apiserver-authentication-reader u:system:kube-controller-manager,
    u:system:kube-scheduler
kube-system/system::leader-locking-kube-controller-manager system::leader-locking-kube-controller-manager u:system:kube-controller-manager,
    s:kube-controller-manager,s:leader-election-controller
kube-system/system::leader-locking-kube-scheduler system::leader-locking-kube-scheduler u:system:kube-scheduler,
    s:kube-scheduler
kube-system/system:controller:bootstrap-signer system:controller:bootstrap-signer s:bootstrap-signer
kube-system/system:controller:cloud-provider system:controller:cloud-provider s:cloud-provider
kube-system/system:controller:token-cleaner system:controller:token-cleaner s:token-cleaner
"""
