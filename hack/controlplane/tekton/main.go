// Tekton Pipelines in one process: its reconcilers, its bundle and cluster resolvers and its
// admission webhook, all of them upstream's own code.
//
// Only the wiring is ours. Upstream's three programs each also listen on port 8080 of every
// interface and elect a leader; a cluster for tests must do neither.
package main

import (
	"context"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	resolution "github.com/tektoncd/pipeline/pkg/apis/resolution/v1beta1"
	"github.com/tektoncd/pipeline/pkg/reconciler/pipelinerun"
	"github.com/tektoncd/pipeline/pkg/reconciler/resolutionrequest"
	"github.com/tektoncd/pipeline/pkg/reconciler/taskrun"
	"github.com/tektoncd/pipeline/pkg/remoteresolution/resolver/bundle"
	"github.com/tektoncd/pipeline/pkg/remoteresolution/resolver/cluster"
	"github.com/tektoncd/pipeline/pkg/remoteresolution/resolver/framework"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	filtered "knative.dev/pkg/client/injection/kube/informers/factory/filtered"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/signals"
	"knative.dev/pkg/webhook"
	"knative.dev/pkg/webhook/certificates"
	"knative.dev/pkg/webhook/resourcesemantics"
	"knative.dev/pkg/webhook/resourcesemantics/defaulting"
	"knative.dev/pkg/webhook/resourcesemantics/validation"
)

const (
	service       = "tekton-pipelines-webhook"
	secret        = "webhook-certs"
	admissionName = "webhook.pipeline.tekton.dev"

	// client-go's own limit would make 50 runs at once three times as slow.
	queriesPerSecond, burst = 1000, 2000
)

// Nothing runs these: pods are simulated.
var images = pipeline.Images{
	EntrypointImage:        "simulated/entrypoint",
	NopImage:               "simulated/nop",
	SidecarLogResultsImage: "simulated/sidecarlogresults",
	ShellImage:             "simulated/shell",
	ShellImageWin:          "simulated/shell-win",
	WorkingDirInitImage:    "simulated/workingdirinit",
}

var admitted = map[schema.GroupVersionKind]resourcesemantics.GenericCRD{
	v1.SchemeGroupVersion.WithKind("Task"):                      &v1.Task{},
	v1.SchemeGroupVersion.WithKind("Pipeline"):                  &v1.Pipeline{},
	v1.SchemeGroupVersion.WithKind("TaskRun"):                   &v1.TaskRun{},
	v1.SchemeGroupVersion.WithKind("PipelineRun"):               &v1.PipelineRun{},
	v1beta1.SchemeGroupVersion.WithKind("CustomRun"):            &v1beta1.CustomRun{},
	v1beta1.SchemeGroupVersion.WithKind("StepAction"):           &v1beta1.StepAction{},
	resolution.SchemeGroupVersion.WithKind("ResolutionRequest"): &resolution.ResolutionRequest{},
}

func main() {
	rest := injection.ParseAndGetRESTConfigOrDie()
	rest.QPS, rest.Burst = queriesPerSecond, burst

	ctx := sharedmain.WithHADisabled(sharedmain.WithHealthProbesDisabled(signals.NewContext()))
	ctx = filtered.WithSelectors(ctx, v1beta1.ManagedByLabelKey)
	ctx = controller.WithResyncPeriod(ctx, controller.DefaultResyncPeriod)
	ctx = webhook.WithOptions(ctx, webhook.Options{
		ServiceName: service,
		SecretName:  secret,
		Port:        webhook.PortFromEnv(8443),
		GracePeriod: time.Millisecond,
	})
	options := &pipeline.Options{Images: images, ResyncPeriod: controller.DefaultResyncPeriod}
	sharedmain.MainWithConfig(ctx, "tekton", rest,
		taskrun.NewController(options, clock.RealClock{}),
		pipelinerun.NewController(options, clock.RealClock{}),
		resolutionrequest.NewController(clock.RealClock{}),
		framework.NewController(ctx, &bundle.Resolver{}),
		framework.NewController(ctx, &cluster.Resolver{}),
		certificates.NewController,
		func(ctx context.Context, watcher configmap.Watcher) *controller.Impl {
			return defaulting.NewAdmissionController(
				ctx, admissionName, "/defaulting", admitted, settings(ctx, watcher), true)
		},
		func(ctx context.Context, watcher configmap.Watcher) *controller.Impl {
			return validation.NewAdmissionController(
				ctx, "validation."+admissionName, "/resource-validation", admitted, settings(ctx, watcher), true)
		},
	)
}

// settings puts Tekton's config maps into the context that admission works with.
func settings(ctx context.Context, watcher configmap.Watcher) func(context.Context) context.Context {
	store := config.NewStore(logging.FromContext(ctx).Named("config-store"))
	store.WatchConfigs(watcher)
	return store.ToContext
}
