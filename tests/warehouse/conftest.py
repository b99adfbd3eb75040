from tests.support.oauth import app as app
from tests.support.oauth import installed as installed
from tests.support.oauth import portal as portal
from tests.support.oauth import simulator as simulator
