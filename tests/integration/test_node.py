"""A node starts, stops and comes back."""

import requests


def test_a_node_answers_and_stops_cleanly(make_larder):
    node = make_larder()
    assert node.get("/healthz").status_code == 200
    assert node.get("/version").json()["version"] == node.version
    node.stop()


def test_a_killed_node_comes_back_on_the_same_data(make_larder):
    node = make_larder()
    node.kill9()
    node.start()
    assert node.get("/healthz").status_code == 200


def test_two_nodes_share_one_catalogue(make_larder, database):
    for node in (make_larder(database=database), make_larder(database=database)):
        assert requests.get(node.url + "/healthz", timeout=30).status_code == 200
