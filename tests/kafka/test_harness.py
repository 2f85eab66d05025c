from .broker import create_topic
def test_it(kafka): 
    print(create_topic(kafka))
