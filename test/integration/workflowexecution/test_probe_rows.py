"""probe"""
import json,sys
from test.integration.workflowexecution.test_tekton import *
from test.integration.workflowexecution.conftest import *

def test_probe(operated_tekton, tekton_operator, trail_service):
    c=operated_tekton
    limit_tasks(c)
    q={"metadata":{"name":"licences"},"spec":{"hard":{f"requests.{LICENCE}":"0"}}}
    a=c.api("POST","/api/v1/namespaces/kubernaut-workflows/resourcequotas",q); assert a.status==201,a
    bundles={n:c.push_bundle(f"workflows/{n}",[w]) for n,w in WORKFLOWS.items()}
    ex=new_executions(c)
    import time
    t0=time.time()
    for n,r in ROWS.items():
        more={"timesOutAt":soon(r.seconds)} if r.seconds else {}
        ex.create(n,annotations=r.pods,workflow={"executionBundle":bundles.get(r.workflow) or r.workflow.format(registry=c.registry)}|dict(r.reference),**more)
    for n,r in ROWS.items():
        if r.meddle: r.meddle(ex,n)
    out={}
    for n,r in ROWS.items():
        try:
            ex.wait(n,lambda s:s.get("status",{}).get("phase") in ("Completed","Failed"),40,"end")
        except AssertionError as e: out[n]=str(e); continue
        s=ex.get(n)["status"]; s["took"]=time.time()-t0; out[n]=s
    T=Trails(trail_service)
    for n in ROWS:
        out[n]["trail"]=T.types(f"rr-{ex.namespace}-{n}")
    json.dump(out,open("/tmp/rows.json","w"),indent=1)
    open("/tmp/op.log","w").write(tekton_operator.log())
