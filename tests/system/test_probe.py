import time
from tests.world import World, quiet
def test_x(migrated_url, tmp_path):
    quiet()
    t=time.time()
    w=World(migrated_url, folder=tmp_path)
    w.mail.deliver_to=None
    print("build", time.time()-t)
    for n in range(4):
        c=w.rocs.add_customer(f"p{n}@example.org","Ann",f"B{n}")
        w.rocs.add_member("L-1",c)
    w.sales.add_contact(w.sales_list,"s1@example.org","Sam Sung")
    w.mail.add_subscriber("154","m1@example.org","Mary Jane")
    w.rokt.send_lead("lead@example.org","Lea","D")
    for i in range(4):
        t=time.time(); r=w.round(); print("round",time.time()-t, r.planned, [(o.name,o.result,o.reason) for o in r.accounts.values()], w.writes); w.wait(60)
    print(w.rows("select email,account,status,remote_list from v_memberships"))
    print([ (c.method,c.path) for c in w.sales.calls][-8:])
    w.close()
